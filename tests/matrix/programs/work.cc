// Works on each line, prints it with endl; each line handled is noted in the log of $SIDE.
#include <cstdlib>
#include <fcntl.h>
#include <iostream>
#include <string>
#include <unistd.h>

int main() {
    std::ios::sync_with_stdio(false);
    std::cin.tie(nullptr);
    const int side = open(std::getenv("SIDE"), O_WRONLY | O_APPEND | O_CREAT, 0644);
    std::string line;
    while (std::getline(std::cin, line)) {
        volatile int sum = 0;
        for (int i = 0; i < 2000; i++)
            sum = sum + i;
        std::cout << line << std::endl;
        line += '\n';
        if (write(side, line.data(), line.size()) < 0)
            return 1;
    }
}
