// A metrics server beside the work (the runtime's netpoller), and a request over HTTP for each line.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go http.Serve(listener, http.NotFoundHandler())
	side, _ := os.OpenFile(os.Getenv("SIDE"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	client := &http.Client{Transport: &http.Transport{Proxy: nil}}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		answer, err := client.Get("http://" + os.Getenv("SERVER") + "/" + lines.Text()[:8])
		if err != nil {
			panic(err)
		}
		io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		fmt.Println(lines.Text())
		side.WriteString(lines.Text() + "\n")
	}
}
