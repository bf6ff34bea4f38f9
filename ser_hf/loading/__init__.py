"""Where weights come from: data-only copies, published files, heads of the Hub, encoders."""
