"""The one exception that a person can mend; the commands print it as a sentence, without a stack trace."""


class Refusal(Exception):
    """What was found, where, what was expected, and what to do next."""
