"""What networks are made of: convolutions, norms, pooling."""
