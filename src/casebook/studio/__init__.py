"""A folder of pictures enters; a local page leaves, which gathers, checks, labels, trains, evaluates and explains."""
