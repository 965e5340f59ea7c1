"""Which errors of ASP.NET Core mean that our arguments did not fit the method."""


def is_binding_error(error: str) -> bool:
    """Whether another form of arguments is worth a try.

    Measured on ASP.NET Core 10: arguments that do not fit are answered "Failed to invoke 'X' due to an
    error on the server." (with detailed errors, more follows). An exception in the method reads "An
    unexpected error occurred invoking 'X' on the server."; a HubException after the first text is a
    reason of the hub's own.
    """
    return error.startswith("Failed to invoke '") and "HubException" not in error
