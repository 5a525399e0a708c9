"""Files onto boards: releases that prove themselves there, and the service that runs them."""
