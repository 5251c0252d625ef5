"""Make prompts and labels from codes and text (method: Alignment tasks)."""
