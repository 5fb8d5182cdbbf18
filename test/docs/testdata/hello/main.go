// Command hello is what the image of the documentation's examples runs.
package main

import "fmt"

func main() { fmt.Println("hello from app 1") }
