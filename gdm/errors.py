"""The one kind of error that is the user's to mend."""


class UserError(Exception):
    """A mistake a user can mend: one clear message, no traceback.

    The message says what is wrong, where, and what to do; the scripts print it on one line and
    exit with status 1. Every other exception is ours and keeps its traceback.
    """
