"""FoPro: learns from noisy web images with a few clean ones."""
