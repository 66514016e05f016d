resource "terraform_data" "good" {
  input = "planned"
}

resource "terraform_data" "bad" {
  input = "never planned"
  lifecycle {
    precondition {
      condition     = terraform_data.good.input == "something else"
      error_message = "the input is not what it should be"
    }
  }
}
