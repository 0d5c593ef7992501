"""What happens beside training: pictures, scores, checkpoints, progress. No mathematics lives here."""
