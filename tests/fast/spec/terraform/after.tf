variable "database_password" {
  type      = string
  sensitive = true
  default   = "hunter3"
}

resource "terraform_data" "cluster" {
  input = { name = "shop", size = 3 }
}

resource "terraform_data" "database" {
  input            = { name = "shop", password = var.database_password }
  triggers_replace = { subnets = ["subnet-1", "subnet-3"], password = var.database_password }
}

resource "terraform_data" "bucket" {
  for_each = toset(["assets"])
  input    = each.key
}

resource "terraform_data" "new_name" {
  input = "stays"
}

resource "terraform_data" "adopted" {
}

resource "terraform_data" "cache" {
  input = "new"
}

moved {
  from = terraform_data.old_name
  to   = terraform_data.new_name
}

removed {
  from = terraform_data.handed_over
  lifecycle {
    destroy = false
  }
}

import {
  to = terraform_data.adopted
  id = "made-by-hand"
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

output "cache" {
  value = terraform_data.cache.id
}

output "database_password" {
  value     = var.database_password
  sensitive = true
}
