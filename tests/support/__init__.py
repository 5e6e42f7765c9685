"""What the tests share: factories, servers, browsers, commands in processes of their own."""
