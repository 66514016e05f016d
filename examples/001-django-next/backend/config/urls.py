from django.urls import path

from tutors import views

urlpatterns = [path("api/tutors/", views.tutors)]
