"""Give each item a few codes: quantise behaviour vectors with codebooks that are pulled towards text vectors."""
