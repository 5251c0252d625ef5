"""Sequential recommenders from the literature, trained as peers of the model: SASRec, BERT4Rec and FMLP-Rec."""
