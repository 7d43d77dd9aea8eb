"""HTTP in and out: routes, status codes and message shapes. No arithmetic happens here."""
