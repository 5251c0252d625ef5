"""Give each item a few codes: quantise its behaviour vector with codebooks that are pulled towards text vectors."""
