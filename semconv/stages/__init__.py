"""The stages of the pipeline. Each stage does its work as a run that can be reused or resumed."""
