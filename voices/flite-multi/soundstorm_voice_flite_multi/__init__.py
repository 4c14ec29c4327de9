"""The voice flite-multi: see the folder `bundle`."""
