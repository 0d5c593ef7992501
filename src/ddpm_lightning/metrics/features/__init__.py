"""Feature extractors: networks whose features of samples and of real images are compared."""
