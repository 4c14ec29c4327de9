"""What every room of the runtime may use: serde, hardware, interrupts, the frame of a command line."""
