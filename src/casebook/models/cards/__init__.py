"""One file of model cards per family, `CARDS: name -> ModelCard`; plain data, no torch."""
