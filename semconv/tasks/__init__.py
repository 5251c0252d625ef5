"""Training samples for tuning: prompts and labels, made from codes and text (docs/method.md, stage two)."""
