"""A network or a worked computation enters; a drawing leaves, as SVG in which every number is counted."""
