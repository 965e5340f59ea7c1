"""Recognises the error of ASP.NET Core for arguments of the wrong shape."""


def is_binding_error(error: str) -> bool:
    """Whether the other form of arguments should be tried.

    Measured on ASP.NET Core 10: arguments of the wrong shape are answered "Failed to invoke 'X' due to an
    error on the server." (with detailed errors, more follows). An exception in the method reads "An
    unexpected error occurred invoking 'X' on the server."; a HubException after the first text is an
    error of the hub's own code.
    """
    return error.startswith("Failed to invoke '") and "HubException" not in error
