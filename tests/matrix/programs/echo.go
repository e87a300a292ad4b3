// bufio.Scanner and fmt.Println; each line handled is noted in the log of $SIDE.
package main

import (
	"bufio"
	"fmt"
	"os"
)

func main() {
	side, _ := os.OpenFile(os.Getenv("SIDE"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fmt.Println(lines.Text())
		side.WriteString(lines.Text() + "\n")
	}
}
