"""What a step of `ingestor check` has found wrong."""


class Problem(Exception):
    """A step failed.

    Args:
        what: one line.
        fix: what to do.
        exit_code: what `check` should exit with; 0 if it will pass by itself.
    """

    def __init__(self, what: str, fix: str, exit_code: int) -> None:
        super().__init__(what)
        self.what, self.fix, self.exit_code = what, fix, exit_code
