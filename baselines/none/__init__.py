"""No edit: the control row."""
