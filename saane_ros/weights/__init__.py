"""Model cards, checkpoint reading and the places where weights are found."""
