variable "database_password" {
  type      = string
  sensitive = true
  default   = "hunter2"
}

resource "terraform_data" "cluster" {
  input = { name = "shop", size = 2 }
}

resource "terraform_data" "database" {
  input            = { name = "shop", password = var.database_password }
  triggers_replace = { subnets = ["subnet-1", "subnet-2"], password = var.database_password }
}

resource "terraform_data" "queue" {
  input = "jobs"
}

resource "terraform_data" "bucket" {
  for_each = toset(["assets", "logs"])
  input    = each.key
}

resource "terraform_data" "old_name" {
  input = "stays"
}

resource "terraform_data" "handed_over" {
  input = "stays too"
}

output "cluster" {
  value = terraform_data.cluster.output.name
}

output "cluster_size" {
  value = terraform_data.cluster.input.size
}

output "vpc" {
  value = { subnet_ids = ["subnet-1", "subnet-2"], id = "vpc-1" }
}

output "queue_url" {
  value = terraform_data.queue.id
}

output "database_password" {
  value     = var.database_password
  sensitive = true
}
