"""The stage that fits a blend of the model's lists with other candidates."""
