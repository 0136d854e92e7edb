"""The synthetic town: one route under day, night, weather and traffic."""
