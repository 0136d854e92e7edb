"""The end-to-end demonstration: bags, map, processes over DDS, report."""
