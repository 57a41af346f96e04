"""Prompts that are generated for training, with their labels, and the variations that training applies to prompts."""
