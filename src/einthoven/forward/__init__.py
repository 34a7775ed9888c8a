"""Forward operators: boundary elements, electrodes, point sources."""
