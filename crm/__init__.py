"""The cluster's configuration and state, and the commands that show and change them."""
