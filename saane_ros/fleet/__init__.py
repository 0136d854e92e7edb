"""Maps that several vehicles share: a store of them, and each vehicle's own on its disk."""
