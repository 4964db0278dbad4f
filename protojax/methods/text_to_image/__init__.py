"""Images from texts: the model that other methods steer."""
