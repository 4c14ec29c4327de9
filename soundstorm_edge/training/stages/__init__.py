"""The stages of training, each a model with its batches and loss."""
