from django.conf import settings
from django.http import JsonResponse

from tutors.models import Tutor


def tutors(request):
    """Which release answers, and what it finds in the database."""
    rows = list(Tutor.objects.values("id", "name", "subject"))
    return JsonResponse({"release": settings.RELEASE, "tutors": rows})
