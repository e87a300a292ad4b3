package main

import (
	"bufio"
	"fmt"
	"os"
	"time"
)

func main() {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		<-time.After(250 * time.Millisecond)
		fmt.Println(in.Text())
	}
}
