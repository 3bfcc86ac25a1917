"""python serve.py PORT USER ORGANIZATION: makes `control` and this user, with PASSWORD, and serves the admin.

For a look; elsewhere it is served by any server of WSGI.
"""

import os
import sys
from wsgiref.simple_server import make_server

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")


def main():
    import django

    django.setup()
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.core.wsgi import get_wsgi_application
    from inventory.models import Member

    port, name, organization = sys.argv[1:]
    call_command("migrate", database="control", verbosity=0, run_syncdb=True)
    if not User.objects.filter(username=name).exists():
        user = User.objects.create_superuser(name, password=os.environ["PASSWORD"])
        Member.objects.create(user=user, organization=organization)
    server = make_server("127.0.0.1", int(port), get_wsgi_application())
    print(f"running on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
