"""Images that a camera collected: their folder, their drift, the page that labels them."""
