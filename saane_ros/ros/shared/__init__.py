"""What every node is made of: life cycle, parameters, topics, diagnostics, clocks."""
