"""Features that samples and real images are compared by."""
