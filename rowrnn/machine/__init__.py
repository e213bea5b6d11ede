"""What a machine gives to a computation: compiled code for its processor, devices, and the backend asked for."""
