"""Training with Lightning: the module, its optimizer, EMA, random draws, diagnostics and checkpoints."""
