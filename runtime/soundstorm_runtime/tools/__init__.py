"""What the commands measure and run: diagnosis, benchmark, batch jobs."""
