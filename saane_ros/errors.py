"""One exception for everything a person can cause and mend."""


class SaaneError(Exception):
    """A failure that is told in one sentence: the thing, the cause, the remedy.

    Commands print the sentence and exit with 1; nodes log it, count it and go on.
    """
