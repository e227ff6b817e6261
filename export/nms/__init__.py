"""A detector's file for apps: boxes decoded and thinned inside, beside the file that is verified tensor by tensor."""
